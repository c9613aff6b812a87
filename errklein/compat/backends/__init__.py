"""Adapters for third-party backends that were written for errbot. Nothing is exported, since `finding` and `errbot`
import the reactor."""
