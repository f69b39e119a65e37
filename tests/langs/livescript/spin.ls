while true
  continue
