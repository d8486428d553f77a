CALL buy()
