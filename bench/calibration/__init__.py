"""Studies of known truth through the functions that the report uses: is what it claims so?"""
