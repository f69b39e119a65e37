program spin
  implicit none
  integer, volatile :: n = 0

  do while (n == 0)
  end do
end program spin
