"""Launchers whose runs execute on other machines: one module for each extra that is installed."""
