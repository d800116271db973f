"""An application that knows its callers as VoiceAssist does.

A JWT signed HS256 with a shared secret, whose claim type is "access", in the
Authorization header over HTTP and in ?token= on a WebSocket. It trusts nothing
else: no header names a user here.

    SECRET_KEY=... uvicorn app:app
"""

import os

from fastapi import Depends, FastAPI, HTTPException, WebSocket, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jose import JWTError, jwt

SECRET_KEY = os.environ["SECRET_KEY"]
ALGORITHM = "HS256"

app = FastAPI()
bearer = HTTPBearer(auto_error=False)


def verify(token: str) -> dict:
    """Returns the claims of an access token; raises JWTError for any other."""
    claims = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM], options={"verify_aud": False})
    if claims.get("type") != "access":
        raise JWTError("not an access token")
    if not claims.get("sub"):
        raise JWTError("no subject")
    return claims


@app.get("/health")
def health():
    return {"status": "ok"}


@app.get("/me")
def me(credentials: HTTPAuthorizationCredentials = Depends(bearer)):
    try:
        claims = verify(credentials.credentials if credentials else "")
    except JWTError as error:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, str(error))
    return {key: claims.get(key) for key in ("sub", "email", "role", "type")}


@app.websocket("/ws")
async def ws(websocket: WebSocket, token: str = ""):
    try:
        claims = verify(token)
    except JWTError:
        await websocket.close(code=status.WS_1008_POLICY_VIOLATION)
        return
    await websocket.accept()
    await websocket.send_json({"type": "connected", "user": claims["sub"]})
    async for text in websocket.iter_text():
        await websocket.send_json({"type": "echo", "text": text})
