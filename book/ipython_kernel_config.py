"""Settings of the chapters' kernels; `make` copies them to where IPython reads them."""

import logging


def is_news(record: logging.LogRecord) -> bool:
    """Drop the warning about unencrypted TCP: kernels listen only on this machine."""
    return not str(record.msg).startswith("Kernel is running over TCP without encryption")


logging.getLogger("IPKernelApp").addFilter(is_news)
