"""Many runs: grids, comparisons, ablations, repetitions, and how fast they are."""
