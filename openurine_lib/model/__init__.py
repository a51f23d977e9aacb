"""The paper's network: autoencoder (Fig. 3A), six heads (Fig. 3B) and their loss (Eqs. 1-7)."""
