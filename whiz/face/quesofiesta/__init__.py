"""The `quesofiesta` command: releases of built source, from the master to every node."""
