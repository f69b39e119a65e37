defmodule Spin do
  def forever, do: forever()
end

Spin.forever()
