/* rexx */
do forever
end
