chunks = {};
while true
  chunks{end + 1} = ones (1, 131072);
end
