"""Latent diffusion that fills a hole in a picture (Rombach et al. 2022): the paper's, a small one.

Both remove noise step by step, from 7 latent channels: the noisy latents (3), those of the picture
with its hole blackened (3), and the hole (1). diffusers is imported only where a model is built.
"""
