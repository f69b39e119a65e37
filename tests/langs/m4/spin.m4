define(`spin', `spin')spin
