"""Hold margin before an order leaves, convert it when it fills, give it back when it ends."""
