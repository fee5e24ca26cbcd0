"""Streaming time-series forecasting: ticks from Kafka in, calibrated forecasts out."""

__version__ = "0.1.0"
