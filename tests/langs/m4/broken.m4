define(`never closed, here
