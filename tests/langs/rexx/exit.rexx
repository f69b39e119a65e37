/* rexx */
exit 3
