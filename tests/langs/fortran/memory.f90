program memory
  implicit none

  type chunk
    integer :: bytes(262144)
    type(chunk), pointer :: next
  end type chunk

  type(chunk), pointer :: head, grown

  head => null()
  do
    allocate (grown)
    grown%bytes = 1
    grown%next => head
    head => grown
  end do
end program memory
