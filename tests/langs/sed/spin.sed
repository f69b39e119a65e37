:spin
b spin
