"""Storage: the index of the confirmed chain, behind one seam (`seam.Storage`)."""
