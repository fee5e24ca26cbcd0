"""The report as one HTML file that loads nothing: what a backtest or a training found, for a person."""
