Write-Output ("never printed"
