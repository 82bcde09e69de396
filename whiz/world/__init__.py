"""TOUCH: one outside thing per room; rooms never import each other."""
