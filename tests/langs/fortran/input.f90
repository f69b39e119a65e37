program input
  implicit none
  character(len=200) :: line
  integer :: unit, status

  open (newunit=unit, file='data.txt', status='old', action='read')
  do
    read (unit, '(a)', iostat=status) line
    if (status /= 0) exit
    print '(a)', trim(line)
  end do
end program input
