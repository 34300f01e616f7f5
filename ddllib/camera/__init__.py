"""A trained run watches a camera: scores, thresholds, events, alarms; nothing below imports it."""
