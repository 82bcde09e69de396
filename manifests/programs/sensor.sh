#!/bin/sh
# Read a pretended sensor every few seconds: sensor.sh NAME
echo "sensor $1 on ${PLACE:-the Pi}"
while :; do
  sleep 5
  echo "sensor $1: 21.5 C"
done
