"""Where skiff does not do what the check expects, and why. A row that fails and is not named here fails the run; so does a row named
here that works."""

DIFFERENCES = {
}
