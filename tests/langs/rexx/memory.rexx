/* rexx */
do i = 1
  block.i = copies('x', 1000000)
end
