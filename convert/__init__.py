"""From trained weights to artefacts that devices run, each proven against the float model. Not part of the wheel."""
