program fibonacci
  implicit none
  integer :: i

  do i = 0, 10
    print '(a, i0, a, i0)', 'fib(', i, ') = ', fib(i)
  end do

contains

  recursive function fib(n) result(value)
    integer, intent(in) :: n
    integer :: value

    if (n < 2) then
      value = n
    else
      value = fib(n - 1) + fib(n - 2)
    end if
  end function fib
end program fibonacci
