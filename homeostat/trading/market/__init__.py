"""Where prices come from: recorded files or the calibrated generator, behind one port."""
