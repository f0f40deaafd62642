"""What the objects mean: which Networks may start connections to which, and why. Pure: no input but the state, no output but values."""
