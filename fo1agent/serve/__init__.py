"""fo1agent over HTTP: tools, questions and an OpenAI-compatible chat, with concurrent requests batched.

settings   what a server allows and how much it takes on
service    what the routes share; its model puts passes together, as `runs.batching` does
gate       who may run, who waits, who is sent away; deadlines and cancellation
app        the FastAPI application, of images, tools, asking and chat
run        the process: listening, signals, draining
"""
