"""How soon a wallet is ready whose disk is empty."""
