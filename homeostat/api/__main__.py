"""`python -m homeostat.api` serves the API."""

from homeostat.api.serve import main

main()
