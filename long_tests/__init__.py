"""Tests that take long, start whole programs or real servers, or limit a real time: `.ci/full` runs them, alone on a machine."""
