"""gunicorn's settings for the bare side: ours where they matter for speed, no hooks of ours."""

worker_class = "gthread"
threads = 32
keepalive = 75
control_socket_disable = True
