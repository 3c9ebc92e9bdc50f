"""Local listeners that outlive connections, and the bridges behind them. Knows no SSH."""
