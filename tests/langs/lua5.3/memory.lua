local chunks = {}
while true do
  chunks[#chunks + 1] = string.rep("x", 1048576) .. #chunks
end
