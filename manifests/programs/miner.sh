#!/bin/sh
# What nobody wants on a Pi. It only sleeps.
while :; do sleep 1; done
