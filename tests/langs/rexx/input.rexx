/* rexx */
do while lines('data.txt') > 0
  say linein('data.txt')
end
