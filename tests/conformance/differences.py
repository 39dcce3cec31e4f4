"""Where skiff does not do what the check expects, and why. A row that fails and is not named here fails the run; so does a row named
here that works."""

CLIENT = "not checked: the docker command does this by itself, the engine sees a bind and a copied file"
BUILD = "building images is not there yet"

DIFFERENCES = {
    "docker run --use-api-socket": CLIENT,
    "Endpoint POST /build": BUILD,
    "Endpoint POST /build/cancel": BUILD,
    "Endpoint POST /session": BUILD + "; this is BuildKit's",
    "Endpoint POST /grpc": BUILD + "; this is BuildKit's",
}
