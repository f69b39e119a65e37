/* rexx */
do i = 0 to 10
  say i
