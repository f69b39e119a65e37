chunks = Vector{UInt8}[]
while true
    push!(chunks, ones(UInt8, 1 << 20))
end
