"""From footage to prepared data: arrays, tracks, labels and a manifest."""
