"""From a folder of footage to prepared data: memory-mapped clips, tracks, labels, masks.

`prepare` and `verify` are loaded when first used, so that importing this package (for the
generated scene, say) needs neither a detector nor a tracker.
"""

__all__ = ["prepare", "verify"]


def __getattr__(name: str):
    if name in __all__:
        from data_prep.preparing import manifest, prepared

        return manifest.verify if name == "verify" else prepared.prepare
    raise AttributeError(f"module 'data_prep' has no attribute {name!r}")
