"""What a camera's options may be; the first of each is what holds without it."""

BACKENDS = ("pytorch", "openvino")  # what computes a model while a camera is watched
STILL = ("score", "skip")  # what a watch does with a frame in which nothing moves
