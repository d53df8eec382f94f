"""How good results are, as networks see them that stylizing does not know. It imports `pipeline` and what is below."""
