"""Export: a trained run as one file for other programs, the score included."""
