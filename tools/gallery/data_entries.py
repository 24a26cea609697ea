DATA=()
